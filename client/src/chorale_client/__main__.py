"""`python -m chorale_client`: the command, where its script is not on the path."""

from chorale_client.command.main import main

if __name__ == "__main__":
    main()
