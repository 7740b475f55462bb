"""Annotation simulation: strategies × seeds × rounds on recordings whose truth is known, without Label Studio."""
