"""Virtual patients with known truth: anatomy, daily motion, scanner."""
