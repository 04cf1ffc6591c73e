package plugin

import (
	"github.com/spf13/pflag"

	"github.com/rotate-certs/rotate-certs/plugin/manifests"
)

// installFlags are the flags of the commands around what is installed. Of kubectl's
// --namespace they have their own, in place of the one that says where node pods run.
type installFlags struct {
	*connectionFlags
	where string
	own   *pflag.Flag
}

// addNamespace adds --namespace; without a default it is looked for in all of them.
func (f *installFlags) addNamespace(set *pflag.FlagSet, standard, usage string) {
	set.StringVarP(&f.where, "namespace", "n", standard, usage)
	f.own = set.Lookup("namespace")
}

// namespace is the one that was asked for, or where an installation usually is.
func (f *installFlags) namespace() string {
	if f.where == "" {
		return manifests.DefaultNamespace
	}
	return f.where
}

// again is how to call the plugin for the same cluster and installation again.
func (f *installFlags) again(name string) string {
	text := f.connectionFlags.command() + " " + name
	if f.own != nil && f.own.Changed {
		text += " --namespace " + f.where
	}
	return text
}
