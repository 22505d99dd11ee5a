"""The evaluator of Plumbline: red-team runs, benchmarks and judges."""
