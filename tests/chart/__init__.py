"""Tests of the Helm chart: what it renders, what GitOps tools make of statuses, and life on a real API server."""
