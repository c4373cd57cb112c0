"""Trained models merged into one: units matched by optimal transport, re-expressed in the anchor's order, averaged.

"Transformer Fusion with Optimal Transport" (Imfeld et al., ICLR 2024, arXiv 2310.05719), after OTFusion (Singh & Jaggi,
arXiv 1910.05653). Model 0 is transformed; model 1 is the anchor, whose shapes the result has. A transport map T
(n0, n1) has a row for each unit of model 0 and a column for each of the anchor.
"""
