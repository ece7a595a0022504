# How programs are started as ranks of MPI, and found again: source mpi.sh MPIEXEC, then "${launch[@]}" -n RANKS PROGRAM ARGUMENT...
launch=("$1")
# Open MPI 4 calls its mpiexec OpenRTE, Open MPI 5 PRRTE.
if [[ $("$1" --version) =~ Open\ MPI|OpenRTE|PRRTE|prte ]]; then
  launch+=(--oversubscribe --bind-to none)
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  export OMPI_MCA_btl_vader_single_copy_mechanism=none OMPI_MCA_orte_base_help_aggregate=1
fi

# rank_ids RANK ARGUMENTS: the processes of that rank, of programs that were started with these arguments among others.
rank_ids() {
  pgrep -f -- "$2" | while read -r id; do
    tr '\0' '\n' <"/proc/$id/environ" 2>/dev/null | grep -Eqx "(OMPI_COMM_WORLD_RANK|PMI_RANK)=$1" && echo "$id"
  done || true
}
