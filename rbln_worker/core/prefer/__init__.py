"""Which devices of a pool go best together: the answer to GetPreferredAllocation, by its policy.

place.py: where the devices of a pool sit. question.py: what was asked, put in order, and what the
NUMA rule leaves to choose from. topology.py, packed.py, spread.py: the best choice by each policy;
fewest.py: the search that two of them share. budget.py: how much may be searched; simple.py: the
answer beyond that. choose.py puts it together.
"""
