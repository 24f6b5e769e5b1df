"""Why attacks work: numbers about a team and an attacker."""
