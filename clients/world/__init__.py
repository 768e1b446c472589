"""The simulated world over months: what each holder writes down of the same borrowers.

`shared.world` says what the borrowers do; `records` what of it a holder sees; `making` writes it as
Parquet, block by block; `commands` is `confide world`.
"""
