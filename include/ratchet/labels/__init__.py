"""Labels that people give: taken from their tools, compared, doubted, reviewed and sent out again."""
