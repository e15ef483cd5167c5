"""What people look at: traces, runs and ablation tables as plain records, and the page that shows them."""
