# Prints what Apache makes of its files, read from its own listing of them on standard input: all directives, where they stand, in the order
# in which they count. Those of one place and one name become one line.
use strict;
use warnings;

my (@in, @order, %said);
while (my $line = <STDIN>) {
	chomp $line;
	$line =~ s/^\s+|\s+$//g;
	next if $line eq '' || $line =~ /^#/;
	if ($line =~ m{^</}) { pop @in; next }
	if ($line =~ /^<(\S+)\s*(.*)>$/) { push @in, "<$1 " . word($2) . ">"; next }
	my ($name, $value) = split /\s+/, $line, 2;
	$value = word($value // '');
	# One line for each of what stands beside others by its first word.
	if ($name =~ /^(?:Script)?Alias(?:Match)?$|^ProxyPass|^Redirect|^SetEnvIf|^LogFormat|^CustomLog/ && $value =~ /^(\S+)\s+(.*)$/) { ($name, $value) = ("$name $1", $2) }
	my $key = join ' ', "conf/", @in, $name;
	$key =~ s{^conf/ }{conf/};
	$key =~ s/ = / /g;
	push @order, $key unless exists $said{$key};
	push @{$said{$key}}, $value;
}
print "$_ = " . join(' | ', @{$said{$_}}) . "\n" for @order;

# word takes the quotation marks off.
sub word { my $s = shift; $s =~ s/"([^" ]*)"/$1/g; return $s }
