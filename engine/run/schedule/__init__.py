"""The timetable beside a running paper account: when to look, how it fares, whom to tell."""
