# Prints cn=config, from slapcat on standard input, as settings: DN/ATTRIBUTE = VALUES. The schema is told as what it defines by name, passwords
# not at all.
use strict;
use warnings;

my ($dn, %said, @order, %schema);
while (my $line = <STDIN>) {
	chomp $line;
	next if $line eq '' || $line =~ /^#/;
	my ($name, $value) = $line =~ /^([^:]+)::? ?(.*)$/ or next;
	if ($name eq 'dn') { $dn = $value; $dn =~ s/,?cn=config$//; $dn = 'config' if $dn eq ''; $dn =~ s/ = /=/g; next }
	next if $name =~ /^(structuralObjectClass|entryUUID|creatorsName|createTimestamp|entryCSN|modifiersName|modifyTimestamp|objectClass|cn|contextCSN)$/;
	if ($dn =~ /schema$/) {
		if ($name =~ /^olc(AttributeTypes|ObjectClasses)$/ && $value =~ /NAME (?:\( *)?'([^']+)'/) { $schema{lc $2} = 1 }
		next;
	}
	$value = '(not shown)' if $name =~ /RootPW$|Secret$|bindmethod|credentials/i || $value =~ /credentials=/i;
	my $key = "$dn/$name";
	push @order, $key unless exists $said{$key};
	push @{$said{$key}}, $value;
}
for my $key (@order) {
	my @v = @{$said{$key}};
	@v = sort @v unless grep { /^\{\d+\}/ } @v;
	print "$key = " . join(' | ', @v) . "\n";
}
print "schema/$_ = defined\n" for sort keys %schema;
