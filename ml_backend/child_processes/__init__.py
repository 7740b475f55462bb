"""Programs that read other people's files under limits.  Nothing heavy is imported here: every such file starts a process."""
