"""A recommender of films: by factors of ratings, explained by a language model that says nothing but features."""
