"""The plugins that come with watcher, each written as a third party would write it; grouped by what they are for."""
