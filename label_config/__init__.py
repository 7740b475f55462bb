"""The vocabulary of Parallax: skeletons, values, project configuration and Label Studio's region format."""
