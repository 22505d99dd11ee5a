"""`python -m plumbline_trainer`: the same as `plumbline-trainer`."""

from plumbline_trainer.main import main

if __name__ == "__main__":
    main()
