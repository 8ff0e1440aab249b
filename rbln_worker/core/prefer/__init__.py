"""GetPreferredAllocation: which devices of a pool go best together, by the pool's policy.

place.py: the topology of the pool. question.py: the request, in order, and what the NUMA rule
leaves to choose from. topology.py, packed.py, spread.py: the best choice by each policy;
fewest.py: the search that two of them share; grouped.py: whole IOMMU groups. budget.py: the limit
of the search; simple.py: the answer beyond it. choose.py puts it together.
"""
