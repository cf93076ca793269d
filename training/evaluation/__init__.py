"""How well systems contour the day: through the service's own code, measured once per case, in the paper's form."""
