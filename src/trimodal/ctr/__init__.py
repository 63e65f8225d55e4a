"""Click-through prediction for visitors with a history: how likely is this visitor to click that product?"""
