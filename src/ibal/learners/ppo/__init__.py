"""Policy gradients that stay near the policy that played: MAPPO and IPPO."""
