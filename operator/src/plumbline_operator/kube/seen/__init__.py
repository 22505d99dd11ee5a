"""What is known of the cluster: watches fill the cache, and from it comes what decide() sees."""
