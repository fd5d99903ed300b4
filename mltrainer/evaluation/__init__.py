"""The one protocol by which every model is judged, and the ledger of every judgement."""
