"""The scorecard: columns, moments, solver, scale, reasons. Pure arithmetic on counts."""
