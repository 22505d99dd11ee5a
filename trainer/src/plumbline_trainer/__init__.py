"""The training stages of Plumbline (`plumbline-trainer`) and its CPU engine: the only place that imports torch."""
