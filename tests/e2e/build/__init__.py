"""Makes what the test node needs beside Kubernetes: `python -m tests.e2e.build`.

Debian packages are installed by apt; CoreDNS and the program of the test images are compiled once per user, from
Go modules that the files beside this one pin, into the cache of `tests/cluster/build`.
"""
