"""Mail: what it says. How it leaves is the business of activities."""
