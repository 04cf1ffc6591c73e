// Package plugin is the command line: one file per command, each with Complete,
// Validate and Run, and the printers. It parses flags into typed
// values, calls the engine, and prints the results; it decides nothing about certificates.
//
// Standard output carries the result (tables, JSON), standard error carries progress,
// checkHints and errors. Every error names the operation, the object, the cause and the next step.
package plugin
