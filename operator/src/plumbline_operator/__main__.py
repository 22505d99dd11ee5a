"""`python -m plumbline_operator` is `plumbline`."""

from plumbline_operator.main import main

if __name__ == "__main__":
    main()
