"""From a video, a picture folder or a Label Studio address to pixels."""
