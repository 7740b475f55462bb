"""Small studies on the capture studio that confirm or refute what a paper published; one module per study."""
