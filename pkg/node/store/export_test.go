package store

// ReplaceInKubeconfig lets fuzzing do without a file system.
var ReplaceInKubeconfig = replaceInKubeconfig
