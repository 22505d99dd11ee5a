"""The bundle that is carried to a site without the internet: what is in it, whether it is whole, and how it gets in."""
