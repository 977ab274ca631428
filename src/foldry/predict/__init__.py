"""Query → Prediction: run the networks, rank their predictions, publish them."""
