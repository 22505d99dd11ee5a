"""What Jobs, JobSets, Deployments and their pods are doing, read from what the API server holds of them. Pure."""
