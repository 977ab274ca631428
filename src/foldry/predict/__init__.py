"""Query → Prediction: run the models, rank what they give, write it down."""
