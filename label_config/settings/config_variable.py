"""Which settings file a process uses."""

#: Environment variable that names parallax.yaml for a process and all that it starts.
CONFIG_VARIABLE = "PARALLAX_CONFIG"
