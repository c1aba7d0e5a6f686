"""The weighted trainer: fine-tuning that feels the rows' weights and can keep a model's safety (SPF, AsFT).

A tower of its own: it imports floor 0 only and needs the extra ``train`` (TRL, PEFT). Nothing is imported here, since
TRL takes seconds to load.
"""
