"""The `chorale` command. One file per subcommand; nothing is imported before it is called."""
