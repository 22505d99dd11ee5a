"""The real Argo CD beside a control plane: built from its module, run as processes, led by a git repository."""
