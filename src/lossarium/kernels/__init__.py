"""How losses are made fast on a CPU: value and gradient in one pass, under the same names as the losses."""
