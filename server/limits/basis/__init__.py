"""What everything else of the limit domain is written with: tables, plain values, reasons."""
