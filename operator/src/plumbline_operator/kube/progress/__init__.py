"""Progress reports of Jobs: taken over HTTPS from pods that prove who they are, kept in memory."""
