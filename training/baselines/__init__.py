"""The systems that the networks are compared with: references that learn nothing, elastix, and the Hybrid method."""
