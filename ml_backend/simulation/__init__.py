"""A capture studio with exact truth, and the noise of the people who label it."""
