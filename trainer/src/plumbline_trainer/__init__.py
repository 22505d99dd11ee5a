"""The training stages and the CPU engine of Plumbline; the only place that imports torch."""
