"""Operations on ragged tensors that know no formula of the paper: reductions and filters over time."""
