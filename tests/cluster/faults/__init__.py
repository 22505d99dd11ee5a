"""What the operator survives, on the real API server: lives of objects, disturbed in every way that can be thought of.

`life` says what a whole life is, `nodes` plays the nodes, `witness` sees all that happens, `quick` starts operators
that can be killed, `ledger` keeps the counts and prints the fault table.
"""
