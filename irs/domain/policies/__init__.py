"""The rules by which a fleet grows and shrinks, one a file; `irs.domain.scaling` picks one."""
