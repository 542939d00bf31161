"""What an application is: its description, how one is found in a folder, and what it is handed."""
