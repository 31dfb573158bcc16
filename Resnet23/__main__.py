"""`python -m Resnet23`, which is the same as `resnet23`."""

from Resnet23.cli import main

if __name__ == "__main__":
    main()
